// One verb of libcni, the library that container engines call plugins through: its chains, its cache, its way with versions.
//
//	driver CONFLIST CACHE validate
//	driver CONFLIST CACHE status
//	driver CONFLIST CACHE gc [CONTAINER/IFNAME]...        these are to stay
//	driver CONFLIST CACHE attachments CONTAINER           what the cache knows of a container
//	driver CONFLIST CACHE add|check|del CONTAINER NETNS IFNAME
//
// CNI_PATH says where the plugins are, CNI_ARGS and CAPABILITIES (a JSON object) what they are told. A result is printed as
// JSON; so is an error, with status 1. Compiled by scripts/newer-engines.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

func main() {
	printed, err := run(os.Args[1:])
	if err != nil {
		var known *types.Error
		if !errors.As(err, &known) {
			known = &types.Error{Msg: err.Error()}
		}
		printed = known
	}
	if printed != nil {
		if err := json.NewEncoder(os.Stdout).Encode(printed); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	if err != nil {
		os.Exit(1)
	}
}

func run(words []string) (any, error) {
	if len(words) < 3 {
		return nil, errors.New("usage: driver CONFLIST CACHE VERB ...")
	}
	list, err := libcni.NetworkConfFromFile(words[0])
	if err != nil {
		return nil, err
	}
	path := strings.Split(os.Getenv("CNI_PATH"), ":")
	cni, ctx := libcni.NewCNIConfigWithCacheDir(path, words[1], nil), context.Background()
	switch verb, rest := words[2], words[3:]; {
	case verb == "validate":
		capabilities, err := cni.ValidateNetworkList(ctx, list)
		return capabilities, err
	case verb == "status":
		return nil, cni.GetStatusNetworkList(ctx, list)
	case verb == "gc":
		var stay []types.GCAttachment
		for _, word := range rest {
			container, ifname, _ := strings.Cut(word, "/")
			stay = append(stay, types.GCAttachment{ContainerID: container, IfName: ifname})
		}
		return nil, cni.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: stay})
	case verb == "attachments" && len(rest) == 1:
		return cni.GetCachedAttachments(rest[0])
	case len(rest) == 3:
		return attachment(ctx, cni, list, verb, rest)
	}
	return nil, fmt.Errorf("no such verb: %v", words[2:])
}

func attachment(ctx context.Context, cni libcni.CNI, list *libcni.NetworkConfigList, verb string, about []string) (any, error) {
	runtime := &libcni.RuntimeConf{ContainerID: about[0], NetNS: about[1], IfName: about[2]}
	for _, pair := range strings.Split(os.Getenv("CNI_ARGS"), ";") {
		if key, value, found := strings.Cut(pair, "="); found {
			runtime.Args = append(runtime.Args, [2]string{key, value})
		}
	}
	if text := os.Getenv("CAPABILITIES"); text != "" {
		if err := json.Unmarshal([]byte(text), &runtime.CapabilityArgs); err != nil {
			return nil, err
		}
	}
	switch verb {
	case "add":
		return cni.AddNetworkList(ctx, list, runtime)
	case "check":
		return nil, cni.CheckNetworkList(ctx, list, runtime)
	case "del":
		return nil, cni.DelNetworkList(ctx, list, runtime)
	}
	return nil, fmt.Errorf("no such verb: %s", verb)
}
