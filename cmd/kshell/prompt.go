package main

import (
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/terminal"
)

// prompts reports whether a credential plugin may ask the user for something,
// each time that a connection is opened.
func (j *job) prompts() bool {
	plugin := j.cfg.ExecProvider
	return plugin != nil && plugin.InteractiveMode != api.NeverExecInteractiveMode && !plugin.StdinUnavailable
}

// unprompted is cfg with its credential plugin told that there is nobody to ask,
// and why.
func unprompted(cfg *rest.Config, why string) *rest.Config {
	if cfg.ExecProvider == nil {
		return cfg
	}
	cfg = rest.CopyConfig(cfg)
	plugin := *cfg.ExecProvider // which CopyConfig shares
	plugin.StdinUnavailable, plugin.StdinUnavailableMessage = true, why
	cfg.ExecProvider = &plugin
	return cfg
}

// lend gives the terminal to a credential plugin that may ask for something, in
// the modes that it had before kshell, until back is called. Keys that the plugin
// did not read are discarded then.
func (k *keys) lend(t *terminal.Terminal) (back func()) {
	if !k.wasRaw.Load() || !k.job.prompts() {
		return func() {}
	}
	resume, ok := k.input.Pause()
	if !ok {
		return func() {}
	}
	k.wasRaw.Store(false) // nor is it to be, when kshell is stopped and continued meanwhile
	t.Restore()
	k.job.notice.setCooked()
	return func() {
		_ = k.raw(t) // else the session says so
		t.Discard()
		k.typed.Lost()
		k.lines.Lost()
		k.job.notice.setScreen(&k.job.screen)
		resume()
	}
}
