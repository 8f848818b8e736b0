package shardtest

import "flag"

var full = flag.Bool("full", false, "200 shards and all faults: minutes")
