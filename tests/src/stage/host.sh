#!/bin/bash
# The first process of a host: makes its namespaces look like a machine of its own, then reaps what is orphaned on it.
# usage: host.sh STAGE NAME, inside fresh net, mount, uts and pid namespaces. Killing it ends everything on the host.
set -eu
stage=$1 name=$2 home=$1/$2
hostname "$name"

# /sys of this network namespace, with the machine's cgroups kept: container engines need both.
mkdir -p "$home/cgroup"
mount --rbind /sys/fs/cgroup "$home/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$home/cgroup" /sys/fs/cgroup
umount -l "$home/cgroup"
rmdir "$home/cgroup"

# What is written below these stays on this host and goes with it.
for tree in etc var opt srv; do
  mkdir -p "$home/$tree/upper" "$home/$tree/work"
  mount -t overlay overlay -o "lowerdir=/$tree,upperdir=$home/$tree/upper,workdir=$home/$tree/work" "/$tree"
done
mount -t tmpfs -o mode=755 tmpfs /run
# A router of the machine's own is none of this host's.
rm -rf /var/lib/raddle
mkdir -p /opt/cni/bin /etc/cni/net.d /var/lib
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
ip link set lo up

touch "$home/ready"
# `wait` returns to bash, which reaps every orphan, as the first process of a pid namespace must.
while :; do sleep 3600 & wait $!; done
