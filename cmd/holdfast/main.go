// Command holdfast is business continuity as code.
package main

import (
	"os"

	"github.com/holdfast-dr/holdfast/cmd/internal/command"
)

func main() { os.Exit(command.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
