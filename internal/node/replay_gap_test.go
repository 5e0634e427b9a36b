package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var numberedLine = regexp.MustCompile(`<(\d+)>`)

// numbersIn returns the numbers of the lines of printLines in text.
func numbersIn(text []byte) []int {
	var all []int
	for _, m := range numberedLine.FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		all = append(all, n)
	}
	return all
}

// printLines prints the lines from..to.
func (r *fakeContainer) printLines(from, to int) {
	for i := from; i <= to; i++ {
		r.print(fmt.Sprintf("<%d>\r\n", i))
	}
}

// sequence returns the numbers from..to.
func sequence(from, to int) (all []int) {
	for i := from; i <= to; i++ {
		all = append(all, i)
	}
	return all
}

func TestReplay_LogGap(t *testing.T) {
	for _, test := range []struct {
		name    string
		gap     func(r *fakeContainer) // called when lines 1 to 500 were printed; the stream begins with line 301
		want    []int
		missing int
	}{
		{"none", func(*fakeContainer) {}, sequence(1, 520), 0},
		{"rotated before line 76", rotatedBefore(76), sequence(1, 520), 0},
		{"rotated before line 201", rotatedBefore(201), sequence(1, 520), 1}, // no line is missing, but this is not known
		{"rotated before line 251", rotatedBefore(251), append(sequence(1, 200), sequence(251, 520)...), 1},
		{"rotated before line 301", rotatedBefore(301), append(sequence(1, 200), sequence(301, 520)...), 1},
		{"rotated before line 450", rotatedBefore(450), append(sequence(1, 200), sequence(301, 520)...), 1},
		{
			"deleted",
			func(r *fakeContainer) { r.logError = refusedLog(400) },
			append(sequence(1, 200), sequence(301, 520)...), 1,
		},
		{
			"cut off in line 400",
			func(r *fakeContainer) { r.logEnds = bytes.Index(r.output, []byte("<400>")) },
			sequence(1, 520), 0,
		},
		{
			"cut off in line 250",
			func(r *fakeContainer) { r.logEnds = bytes.Index(r.output, []byte("<250>")) },
			append(sequence(1, 249), sequence(301, 520)...), 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &fakeContainer{}
				replay, out, missing := newReplay(r)
				replay.ExpectMark(t.Context(), "a")
				r.print(markText("a"))
				r.printLines(1, 200)
				send(t, replay, r.output)
				r.printLines(201, 300)
				time.Sleep(12 * time.Second)
				begin := len(r.output)
				replay.ExpectMark(t.Context(), "b")
				r.printLines(301, 500)
				test.gap(r)
				r.print(markText("b"))
				r.printLines(501, 520)
				send(t, replay, r.output[begin:])
				if got := numbersIn(out.Bytes()); !slices.Equal(got, test.want) {
					t.Errorf("got %s, want %s", ranges(got), ranges(test.want))
				}
				if len(*missing) != test.missing {
					t.Errorf("missing %v, want %d gaps", *missing, test.missing)
				}
				for _, g := range r.gaps {
					if d := g.To.Sub(g.From); d != 12*time.Second {
						t.Errorf("the gap is %v long, want 12s", d)
					}
				}
			})
		})
	}
}

func rotatedBefore(line int) func(r *fakeContainer) {
	return func(r *fakeContainer) { r.rotatedAway = bytes.Index(r.output, fmt.Appendf(nil, "<%d>", line)) }
}

// ranges formats numbers for error messages: "1-200 301-520".
func ranges(numbers []int) string {
	var b strings.Builder
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		fmt.Fprintf(&b, "%d-%d ", numbers[i], numbers[j])
		i = j + 1
	}
	return b.String()
}

// The log is rotated, deleted and cut off at random, and the streams break at
// random. Nothing that a stream has delivered is lost, nothing is written
// twice, and gaps are reported.
func TestReplay_LogGapAtRandom(t *testing.T) {
	for run := range 400 {
		synctest.Test(t, func(t *testing.T) {
			r := &fakeContainer{logIsCut: run%3 == 0}
			replay, out, missing := newReplay(r)
			r.onGap = func() { out.WriteString("~") } // separates the parts of two numbers
			line, delivered := 0, map[int]bool{}
			print := func(most int) {
				n := rand.IntN(most)
				r.printLines(line+1, line+n)
				line += n
			}
			rotate := func() {
				if rand.IntN(3) == 0 {
					lines := bytes.LastIndexByte(r.output[:r.rotatedAway+rand.IntN(len(r.output)-r.rotatedAway+1)], '\n')
					r.rotatedAway = max(r.rotatedAway, lines+1)
				}
			}
			print(100)
			for stream := range 6 {
				id := fmt.Sprintf("id%d", stream)
				replay.ExpectMark(t.Context(), id)
				print(100) // only in the log
				begin := len(r.output)
				print(200)
				rotate()
				r.print(markText(id + "-0"))
				print(50)
				if r.logError = nil; rand.IntN(4) == 0 {
					r.logError = refusedLog(404)
				}
				end := len(r.output)
				if rand.IntN(4) == 0 { // the stream ends before the mark
					end = begin + rand.IntN(end-begin)
				}
				send(t, replay, r.output[begin:end])
				for _, n := range numbersIn(r.output[begin:end]) {
					delivered[n] = true
				}
				rotate()
			}
			print(50)
			r.logError, r.ended, r.logIsCut = nil, true, false
			if err := replay.WriteRest(t.Context()); err != nil {
				t.Fatal(err)
			}
			written := map[int]bool{}
			last := 0
			numbers := numbersIn(out.Bytes())
			for _, n := range numbers {
				if written[n] || n < last {
					t.Fatalf("line %d is repeated or out of order: %s", n, ranges(numbersIn(out.Bytes())))
				}
				written[n], last = true, n
			}
			for n := 1; n <= line; n++ {
				// A gap before the first line that was written is not known.
				if !written[n] && (delivered[n] || n > numbers[0] && len(*missing) == 0) {
					t.Fatalf("line %d is missing, delivered %v, gaps %v: %s",
						n, delivered[n], *missing, ranges(numbersIn(out.Bytes())))
				}
			}
		})
	}
}

// The log was rotated after the expected mark was printed. The log then begins
// after the mark, and continues without a pause.
func TestReplay_LogBeginsAfterTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeContainer{}
		replay, out, missing := newReplay(r)
		replay.ExpectMark(t.Context(), "a")
		r.print(markText("a-0"))
		r.printLines(1, 20)
		send(t, replay, r.output)
		r.printLines(21, 30)
		replay.ExpectMark(t.Context(), "b")
		begin := len(r.output)
		r.printLines(31, 40)
		r.print(markText("b-0"))
		r.printLines(41, 50)
		r.rotatedAway = len(r.output)
		r.printLines(51, 60)
		r.print(markText("b-1"))
		r.printLines(61, 70)
		since := time.Now()
		send(t, replay, r.output[begin:])
		if got, want := numbersIn(out.Bytes()), append(sequence(1, 20), sequence(31, 70)...); !slices.Equal(got, want) {
			t.Errorf("got %s, want %s", ranges(got), ranges(want))
		}
		wantMissing(t, *missing, errLogTooShort.Error())
		if took := time.Since(since); took != 0 {
			t.Errorf("Replay waited for %v", took)
		}
	})
}

func TestMark_Follows(t *testing.T) {
	for _, test := range []struct {
		id, other string
		want      bool
	}{
		{"a-1", "a-0", true},
		{"a-10", "a-9", true},
		{"a-0", "a-0", false},
		{"a-0", "a-1", false},
		{"b-1", "a-0", false},
		{"a", "a-0", false},
		{"a-1", "a", false},
		{"a-x", "a-0", false},
	} {
		if got := (&mark{id: test.id}).follows(test.other); got != test.want {
			t.Errorf("%q follows %q: got %v", test.id, test.other, got)
		}
	}
}

// If the log was rotated, the end of the output may be missing.
func TestReplay_WriteRestAfterRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeContainer{}
		replay, out, missing := newReplay(r)
		replay.ExpectMark(t.Context(), "a")
		r.print(markText("a"))
		r.printLines(1, 20)
		send(t, replay, r.output)
		time.Sleep(time.Minute)
		r.printLines(21, 30)
		_, second, _ := bytes.Cut(r.output, []byte("<21>"))
		send(t, replay, append([]byte("<21>"), second...))
		r.rotatedAway = len(r.output)
		r.printLines(31, 40)
		time.Sleep(3 * time.Second)
		r.ended = true
		if err := replay.WriteRest(t.Context()); err != nil {
			t.Error(err)
		}
		if got := numbersIn(out.Bytes()); !slices.Equal(got, sequence(1, 40)) {
			t.Errorf("got %s", ranges(got))
		}
		wantMissing(t, *missing, errLogTooShort.Error())
		if g := r.gaps[0]; g.To.Sub(g.From) != 3*time.Second {
			t.Errorf("the gap is from %v to %v, want 3s", g.From, g.To)
		}
	})
}

func TestReplay_WriteReceived(t *testing.T) {
	r := &fakeContainer{}
	replay, out, missing := newReplay(r)
	replay.ExpectMark(t.Context(), "a")
	r.print(markText("a") + "one\r\n")
	send(t, replay, r.output)
	replay.ExpectMark(t.Context(), "b")
	send(t, replay, []byte("two\r\n"))
	if err := replay.WriteReceived(errLogEnded); err != nil || out.String() != "one\r\ntwo\r\n" {
		t.Errorf("got %q, %v", out, err)
	}
	wantMissing(t, *missing, errLogEnded.Error())
	if err := replay.WriteReceived(errLogEnded); err != nil || out.String() != "one\r\ntwo\r\n" || len(*missing) != 1 {
		t.Errorf("again: got %q, %v, missing %v", out, err, *missing)
	}
}
