package exact

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestRing writes and reads random numbers of bytes, also across the end of the
// buffer and while the buffer grows.
func TestRing(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		input := randomBytes(5 * maxBlock)
		var r ring
		var got []byte
		for rest := input; len(rest) > 0 || r.len > 0; {
			n := min(random.IntN(300_000), len(rest), maxBlock-r.len)
			r.write(rest[:n])
			rest = rest[n:]
			p := make([]byte, random.IntN(300_000))
			n = r.copyTo(p)
			got = append(got, p[:n]...)
			r.discard(n)
		}
		if !bytes.Equal(got, input) {
			t.Fatalf("seed %d: the %d bytes that were read are not the %d bytes that were written", seed, len(got), len(input))
		}
		if len(r.buf) > maxBlock {
			t.Errorf("seed %d: the buffer has %d bytes, want at most %d", seed, len(r.buf), maxBlock)
		}
	}
}
