//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// options are the arguments of the commands.
type options struct {
	id, dir, workdir     string
	status               string
	env                  []string // NAME=VALUE
	tty, stdin, remove   bool
	buffer               int
	idle, total, silence time.Duration
	command              []string // after "--"
}

// maxOption is the maximum of the numbers in options: a gigabyte, or 34 years.
const maxOption = 1 << 30

func usageError(text string) error { return errors.New(text) }

func parseOptions(args []string) (options, error) {
	var o options
	for i, arg := range args {
		if arg == "--" {
			o.command = args[i+1:]
			break
		}
		key, value, _ := strings.Cut(arg, "=")
		if err := o.set(key, value); err != nil {
			return o, err
		}
	}
	if o.dir == "" {
		o.dir = filepath.Dir(executable())
	}
	return o, nil
}

// executable returns the path of the program. Without /proc, it is the path with which
// the program was started.
func executable() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return os.Args[0]
}

func (o *options) set(key, value string) error {
	switch key {
	case "id":
		o.id = value
		return checkID(value)
	case "dir":
		o.dir = value
	case "status":
		o.status = value
	case "workdir":
		o.workdir = value
	case "env":
		if name, _, ok := strings.Cut(value, "="); !ok || name == "" {
			return usageError("env must be NAME=VALUE")
		}
		o.env = append(o.env, value)
	case "tty":
		o.tty = value == "1"
	case "stdin":
		o.stdin = value == "1"
	case "remove":
		o.remove = value == "1"
	case "buffer", "idle", "total", "silence":
		n, err := strconv.Atoi(value)
		if err != nil || n <= 0 || n > maxOption {
			return usageError(key + " must be a positive number")
		}
		switch key {
		case "buffer":
			o.buffer = n
		case "idle":
			o.idle = time.Duration(n) * time.Second
		case "total":
			o.total = time.Duration(n) * time.Second
		default:
			o.silence = time.Duration(n) * time.Second
		}
	default:
		return usageError("unknown option " + key)
	}
	return nil
}

// checkID checks the ID of a session: 1 to 32 lower-case letters and digits.
func checkID(id string) error {
	if id == "" || len(id) > 32 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return usageError("an ID has 1 to 32 lower-case letters and digits")
	}
	return nil
}

func itoa(n int) string { return strconv.Itoa(n) }
