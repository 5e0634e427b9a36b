package interactive

// lend restores the terminal's modes for a credential plugin that may prompt
// the user, until back is called. back also discards the keys that the plugin
// has not read.
func (s *Session) lend() (back func()) {
	if !s.wasRaw.Load() || !s.console.cmd.Cluster().Prompts() {
		return func() {}
	}
	resume, ok := s.input.Pause()
	if !ok {
		return func() {}
	}
	s.wasRaw.Store(false) // so that continued does not set raw mode
	s.term.Restore()
	s.env.Notice.SetCooked()
	return func() {
		_ = s.raw() // makeRaw calls it again and returns its error
		s.term.DiscardInput()
		s.keys.InputLost()
		s.lines.InputLost()
		s.env.Notice.SetRaw(s.console.screen)
		resume()
	}
}
