#!/bin/bash
# Waits until the process that owns the stage is gone, however it went, and takes the stage down.
# usage: janitor.sh STAGE < PIPE; the owner holds the pipe's other end and writes `keep` if the stage is to stay.
stage=$1
trap '' INT TERM HUP
read -r word
[ "${word:-}" = keep ] && exit 0
exec bash "$stage/down"
