//go:build !unix

package sandbox

import "errors"

var errUnsupported = errors.New("the sandbox needs Unix: its pods are local processes with ptys")

func supported() error { return errUnsupported }

func startProcess(command) (*process, error) { return nil, errUnsupported }

func (p *process) terminate() {}

func (p *process) hangUp() {}

func (p *process) kill() {}

func (p *process) resize(size) {}

func killAll(string, ...*container) {}

func exists(int) bool { return false }

func findProcesses(string, []int) (pids, inUse []int) { return nil, nil }

func commandLine(int) []string { return nil }

func isBusy(int) bool { return false }
