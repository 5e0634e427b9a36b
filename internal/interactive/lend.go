package interactive

// If a credential plugin may prompt the user, lend pauses kshell's input and
// restores the terminal's modes. back sets raw mode again, discards the keys
// that the plugin has not read, and resumes the input.
func (s *Session) lend() (back func()) {
	if !s.wasRaw.Load() || !s.console.cmd.Cluster().Prompts() {
		return func() {}
	}
	resume, ok := s.input.Pause()
	if !ok {
		return func() {}
	}
	s.wasRaw.Store(false) // so that s.continued does not set raw mode meanwhile
	s.term.Restore()
	s.env.Notice.SetCooked()
	return func() {
		_ = s.raw() // an error does not matter: makeRaw calls raw again and returns its error
		s.term.DiscardInput()
		s.keys.InputLost()
		s.lines.InputLost()
		s.env.Notice.SetRaw(s.console.screen)
		resume()
	}
}
