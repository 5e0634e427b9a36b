package contract

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Fuzz runs commands that print random bytes on both streams, in random pieces,
// and exit with a random code, and checks output and code. Much of the output
// looks like that of kshell's own script. The commands read the bytes from
// their stdin, so stdin is checked as well.
func Fuzz(t *testing.T, s Subject, pod string, runs int) {
	for range runs {
		seed := newSeed()
		rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // not a secret
		f := newFuzz(rnd)
		r := s.Run(
			t,
			f.input.Bytes(),
			append(append([]string{"exec", "-i"}, s.Flags...), pod, "--", "sh", "-c", f.script.String())...)
		if r.Code != f.code || r.Out != f.out.String() || r.Err != f.err.String() {
			t.Errorf("seed %d: exit code %d, want %d; stdout %s; stderr %s", seed, r.Code, f.code,
				difference(r.Out, f.out.String()), difference(r.Err, f.err.String()))
		}
		if t.Failed() {
			return
		}
	}
}

// fuzz is a random command.
type fuzz struct {
	script   strings.Builder
	input    bytes.Buffer
	out, err bytes.Buffer
	code     int
}

func newFuzz(rnd *rand.Rand) *fuzz {
	f := &fuzz{code: rnd.IntN(256)}
	for range rnd.IntN(12) {
		piece := randomPiece(rnd)
		f.input.Write(piece)
		to, where := &f.out, ""
		if rnd.IntN(2) == 0 {
			to, where = &f.err, " >&2"
		}
		to.Write(piece)
		fmt.Fprintf(&f.script, "dd bs=%d count=1 iflag=fullblock%s 2>/dev/null\n", len(piece), where)
		if rnd.IntN(8) == 0 {
			f.script.WriteString("sleep 0.02\n")
		}
	}
	if rnd.IntN(4) == 0 {
		f.input.Write(randomPiece(rnd)) // input that the script does not read
	}
	fmt.Fprintf(&f.script, "exit %d", f.code)
	return f
}

// randomPiece returns 1 to 100,000 bytes.
func randomPiece(rnd *rand.Rand) []byte {
	size := 1 + rnd.IntN([]int{8, 200, 5_000, 100_000}[rnd.IntN(4)])
	var b []byte
	for len(b) < size {
		switch rnd.IntN(6) {
		case 0:
			b = append(b, randomBytes(rnd, 1+rnd.IntN(3000))...)
		case 1: // looks like a message of kshell's script: 0x1e, hexadecimal digits, and words
			b = append(b, 0x1e)
			b = append(b, hex.EncodeToString(randomBytes(rnd, []int{4, 8, 16, 20, 32}[rnd.IntN(5)]))...)
			b = append(
				b,
				[]string{
					"ended 0\n", "running\n", "alive\n", "ended missing\n", "ended 7",
					"\n", "", "ended 99999999999999999999\n",
				}[rnd.IntN(8)]...)
		case 2:
			b = append(b, bytes.Repeat([]byte{0x1e}, 1+rnd.IntN(70))...)
		case 3:
			b = append(b, 0x1e, 0x1e, 0)
		case 4:
			b = append(b, strings.Repeat("line\n", rnd.IntN(100))...)
		default:
			b = append(b, 0x1e)
			b = append(b, randomBytes(rnd, rnd.IntN(40))...)
		}
	}
	return b[:size]
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// difference describes where two texts begin to differ.
func difference(got, want string) string {
	if got == want {
		return "correct"
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	return fmt.Sprintf("differs at %d: %.60q, want %.60q (%d bytes of %d)", i, got[i:], want[i:], len(got), len(want))
}
