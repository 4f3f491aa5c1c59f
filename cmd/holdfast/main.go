// Command holdfast is business continuity as code.
package main

import (
	"os"

	"github.com/holdfast-dr/holdfast/cmd/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
