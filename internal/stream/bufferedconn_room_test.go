package stream

import (
	"testing"
	"testing/synctest"
)

// While a write to the network connection blocks, an empty buffer accepts one
// write of any size, and a full buffer accepts only control frames.
func TestBufferedConn_Room(t *testing.T) {
	for name, c := range map[string]struct {
		pending, size int
		fits          bool
	}{
		"a large write to an empty buffer": {0, 2 * bufferSize, true},
		"the last bytes that fit":          {bufferSize - 200, 200, true},
		"one write too many":               {bufferSize, controlSize + 1, false},
		"a control frame":                  {bufferSize, controlSize, true},
		"a control frame beyond the slack": {bufferSize + controlSlack, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBufferedConn(&slowConn{allow: make(chan struct{})})
				_, _ = b.Write([]byte("x"))
				synctest.Wait() // "x" is now being written to the slowConn
				if c.pending > 0 {
					_, _ = b.Write(make([]byte, c.pending))
				}
				var err error
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, err = b.Write(make([]byte, c.size))
				}()
				synctest.Wait()
				fits := false
				select {
				case <-ended:
					fits = err == nil
				default:
				}
				if fits != c.fits {
					t.Errorf("%d bytes after %d: fits %v, want %v", c.size, c.pending, fits, c.fits)
				}
				_ = b.Close()
				<-ended
			})
		})
	}
}
