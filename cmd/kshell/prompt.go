package main

import (
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

// prompts reports whether a credential plugin may prompt the user each time that a
// connection is opened.
func (j *job) prompts() bool {
	plugin := j.cfg.ExecProvider
	return plugin != nil && plugin.InteractiveMode != api.NeverExecInteractiveMode && !plugin.StdinUnavailable
}

// unprompted returns a copy of cfg whose credential plugin cannot prompt the user.
// why is the reason that the plugin is told.
func unprompted(cfg *rest.Config, why string) *rest.Config {
	if cfg.ExecProvider == nil {
		return cfg
	}
	cfg = rest.CopyConfig(cfg)
	plugin := *cfg.ExecProvider // CopyConfig does not copy it
	plugin.StdinUnavailable, plugin.StdinUnavailableMessage = true, why
	cfg.ExecProvider = &plugin
	return cfg
}

// lend restores the terminal's modes for a credential plugin that may prompt the
// user, until back is called. back also discards the keys that the plugin has not
// read.
func (k *keys) lend() (back func()) {
	t := k.term
	if !k.wasRaw.Load() || !k.job.prompts() {
		return func() {}
	}
	resume, ok := k.input.Pause()
	if !ok {
		return func() {}
	}
	k.wasRaw.Store(false) // so that continued does not set raw mode
	t.Restore()
	k.job.notice.SetCooked()
	return func() {
		_ = k.raw() // enter calls it again and returns its error
		t.DiscardInput()
		k.typed.InputLost()
		k.lines.InputLost()
		k.job.notice.SetRaw(&k.job.screen)
		resume()
	}
}
