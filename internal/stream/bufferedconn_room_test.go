package stream

import (
	"testing"
	"testing/synctest"
)

// While a write to the socket blocks, one more write of any size and control
// frames after it fit into the buffer.
func TestBufferedConn_Room(t *testing.T) {
	for name, c := range map[string]struct {
		waiting, size int
		fits          bool
	}{
		"a large write while nothing waits": {0, 2 * bufferSize, true},
		"the last bytes":                    {bufferSize - 200, 200, true},
		"one write too many":                {bufferSize, controlSize + 1, false},
		"a control frame":                   {bufferSize, controlSize, true},
		"a control frame beyond the slack":  {bufferSize + controlSlack, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newBufferedConn(&slow{let: make(chan struct{})})
				_, _ = g.Write([]byte("x"))
				synctest.Wait() // it is being written
				if c.waiting > 0 {
					_, _ = g.Write(make([]byte, c.waiting))
				}
				var err error
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_, err = g.Write(make([]byte, c.size))
				}()
				synctest.Wait()
				fits := false
				select {
				case <-ended:
					fits = err == nil
				default:
				}
				if fits != c.fits {
					t.Errorf("%d bytes after %d: fits %v, want %v", c.size, c.waiting, fits, c.fits)
				}
				_ = g.Close()
				<-ended
			})
		})
	}
}
