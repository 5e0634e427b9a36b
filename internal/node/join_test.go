package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// numbered returns the lines from..to, each with its number.
func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func received(texts ...string) []segment {
	var list []segment
	for _, text := range texts {
		list = append(list, segment{raw: []byte(strings.ReplaceAll(text, "\n", "\r\n")), text: []byte(text)})
	}
	return list
}

// format formats pieces: text of the log is unchanged, text of a stream is in
// brackets, and "~" is a gap.
func format(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		if p.gap {
			b.WriteString("~")
		}
		if p.raw != nil {
			fmt.Fprintf(&b, "[%s]", p.text)
		} else {
			b.Write(p.text)
		}
	}
	return b.String()
}

func TestJoin(t *testing.T) {
	for _, test := range []struct {
		name     string
		shown    string
		log      logText
		received []segment
		want     string
	}{
		{
			"the log is whole", numbered(1, 9),
			logText{text: []byte(numbered(10, 29)), placed: true, complete: true},
			received(numbered(20, 29)), numbered(10, 19) + "[" + numbered(20, 29) + "]",
		},
		{
			"the stream has delivered nothing", numbered(1, 9),
			logText{text: []byte(numbered(10, 19)), placed: true, complete: true},
			received(""), numbered(10, 19),
		},
		{
			"nothing was printed", numbered(1, 9), logText{placed: true, complete: true}, received(""), "",
		},
		{
			"the log begins in the shown output", numbered(1, 19),
			logText{text: []byte(numbered(10, 39)), complete: true},
			received(numbered(30, 39)), numbered(20, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"the log begins before the tail of the shown output", numbered(10, 19),
			logText{text: []byte(numbered(1, 39)), complete: true, earlier: true},
			received(numbered(30, 39)), numbered(20, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"the log begins after the shown output", numbered(1, 9),
			logText{text: []byte(numbered(20, 39)), complete: true},
			received(numbered(30, 39)), "~" + numbered(20, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"the log begins in the received output", numbered(1, 9),
			logText{text: []byte(numbered(35, 39)), complete: true},
			received(numbered(20, 39)), "~[" + numbered(20, 39) + "]",
		},
		{
			"the log is empty", numbered(1, 9),
			logText{complete: true},
			received(numbered(20, 39)), "~[" + numbered(20, 39) + "]",
		},
		{
			"nothing is known about the end", numbered(1, 9), logText{complete: true}, received(""), "~[]",
		},
		{
			"the log has a gap in the received output", numbered(1, 9),
			logText{text: []byte(numbered(10, 24) + numbered(30, 39)), placed: true, complete: true},
			received(numbered(20, 39)), numbered(10, 19) + "[" + numbered(20, 39) + "]",
		},
		{
			"the log has a gap before and in the received output", numbered(1, 9),
			logText{text: []byte(numbered(10, 14) + numbered(30, 39)), placed: true, complete: true},
			received(numbered(20, 39)), numbered(10, 14) + "~[" + numbered(20, 39) + "]",
		},
		{
			"the log could not be read", numbered(1, 9),
			logText{},
			received(numbered(20, 39)), "~[" + numbered(20, 39) + "]",
		},
		{
			"the log was cut off before the received output", numbered(1, 9),
			logText{text: []byte(numbered(10, 14)), placed: true},
			received(numbered(20, 39)), numbered(10, 14) + "~[" + numbered(20, 39) + "]",
		},
		{
			"the log was cut off in the received output", numbered(1, 9),
			logText{text: []byte(numbered(10, 27) + "line"), placed: true},
			received(numbered(20, 39)), numbered(10, 19) + "[" + numbered(20, 39) + "]",
		},
		{
			"the log was cut off in the shown output", numbered(1, 19),
			logText{text: []byte(numbered(5, 8))},
			received(numbered(30, 39)), "~[" + numbered(30, 39) + "]",
		},
		{
			"equal lines are written once", strings.Repeat("y\n", 100),
			logText{text: []byte(strings.Repeat("y\n", 80)), complete: true},
			received(strings.Repeat("y\n", 50)), "[" + strings.Repeat("y\n", 50) + "]",
		},
		{
			"a prompt is not written twice, but output may be missing", "line 1\n$ ",
			logText{text: []byte("$ ls\nfile\n"), complete: true},
			received(""), "~ls\nfile\n",
		},
		{
			"the last lines", "",
			logText{text: []byte(numbered(10, 39)), complete: true, lastLines: true},
			received(numbered(30, 39)), numbered(10, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"the last lines begin in the received output", "",
			logText{text: []byte(numbered(30, 39)), complete: true, lastLines: true},
			received(numbered(20, 39)), "[" + numbered(20, 39) + "]",
		},
		{
			"an earlier stream in a whole log", numbered(1, 9),
			logText{text: []byte(numbered(10, 39)), placed: true, complete: true},
			received(numbered(15, 19), numbered(30, 39)), numbered(10, 19) + numbered(20, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"an earlier stream before the log", numbered(1, 9),
			logText{text: []byte(numbered(25, 39)), complete: true},
			received(numbered(15, 19), numbered(30, 39)),
			"~[" + numbered(15, 19) + "]~" + numbered(25, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"the log begins in an earlier stream", numbered(1, 9),
			logText{text: []byte(numbered(15, 39)), complete: true},
			received(numbered(12, 22), numbered(30, 39)),
			"~[" + numbered(12, 22) + "]" + numbered(23, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"an earlier stream in a log that begins late", numbered(1, 9),
			logText{text: []byte(numbered(15, 39)), complete: true},
			received(numbered(20, 22), numbered(30, 39)),
			"~" + numbered(15, 22) + numbered(23, 29) + "[" + numbered(30, 39) + "]",
		},
		{
			"a short earlier stream that is not in the log", numbered(1, 9),
			logText{text: []byte(numbered(20, 59)), complete: true},
			received("ne 5", numbered(30, 39), numbered(50, 59)),
			"~[ne 5]~" + numbered(20, 39) + numbered(40, 49) + "[" + numbered(50, 59) + "]",
		},
		{
			"an earlier stream and no log", numbered(1, 9),
			logText{},
			received(numbered(15, 19), numbered(30, 39)), "~[" + numbered(15, 19) + "]~[" + numbered(30, 39) + "]",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			shown := &tail{}
			shown.add([]byte(test.shown))
			if got := format(join(shown, test.log, test.received)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestJoin_OmittedText(t *testing.T) {
	shown := &tail{}
	shown.add([]byte(numbered(1, 9)))
	log := logText{text: []byte(numbered(30, 39)), complete: true, omitted: amount{100, 9}}
	last := segment{raw: []byte("x\r\n"), text: []byte("x\n"), omitted: amount{20, 2}}
	got := join(shown, log, []segment{last})
	if len(got) != 2 || got[0].omitted != log.omitted || got[1].omitted != last.omitted || !got[0].gap || !got[1].gap {
		t.Errorf("got %+v", got)
	}
}

func TestOverlapOf(t *testing.T) {
	naive := func(a, b []byte) int {
		for n := min(len(a), len(b)); n > 0; n-- {
			if bytes.HasSuffix(a, b[:n]) {
				return n
			}
		}
		return 0
	}
	for range 20000 {
		a, b := make([]byte, rand.IntN(12)), make([]byte, rand.IntN(12))
		for _, p := range [][]byte{a, b} {
			for i := range p {
				p[i] = byte('a' + rand.IntN(2))
			}
		}
		if got, want := overlapOf(a, b), naive(a, b); got != want {
			t.Fatalf("overlapOf(%q, %q) = %d, want %d", a, b, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	var all []byte
	x := &tail{}
	for i := range 3000 {
		p := bytes.Repeat([]byte{byte(i)}, rand.IntN(500))
		if i == 2000 {
			p = bytes.Repeat([]byte("z"), 5*tailSize)
		}
		x.add(p)
		all = append(all, p...)
		if !bytes.HasSuffix(all, x.text) || len(x.text) < min(len(all), tailSize) || len(x.text) > 2*tailSize ||
			x.cut != (len(x.text) < len(all)) {
			t.Fatalf("after %d bytes: %d bytes are kept, cut is %v", len(all), len(x.text), x.cut)
		}
	}
}

func TestSegments_Limit(t *testing.T) {
	var s segments
	s.begin()
	line := []byte("123456789\r\n")
	for range 3 * maxHeld / len(line) {
		s.add(line)
	}
	s.begin()
	s.add([]byte("x\r"))
	list := slices.Clone(s.take())
	if len(list) != 2 || string(list[1].text) != "x" {
		t.Fatalf("got %d segments", len(list))
	}
	first := list[0]
	total := int64(3*maxHeld/len(line)) * int64(len(line)-1)
	if len(first.raw) > maxHeld || first.omitted.bytes+int64(len(first.text)) != total ||
		first.omitted.lines+int64(bytes.Count(first.text, []byte("\n"))) != total/int64(len(line)-1) {
		t.Errorf("%d bytes are kept, %+v omitted, of %d", len(first.text), first.omitted, total)
	}
}
