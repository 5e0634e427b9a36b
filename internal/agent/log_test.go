package agent

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestOutputLog_Random(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 2))
		var l outputLog
		var data []byte
		var streams []Stream
		for range 200 {
			piece := noise(random, random.IntN(20000))
			stream := Stream(1 + random.IntN(2))
			l.append(stream, piece)
			data = append(data, piece...)
			for range piece {
				streams = append(streams, stream)
			}
			if random.IntN(2) == 0 {
				l.dropBefore(uint64(random.IntN(len(data) + 10)))
			}
			if l.end != uint64(len(data)) || len(l.chunks) > l.size()/chunkSize+2 {
				t.Fatalf("seed %d: end %d of %d, %d chunks for %d bytes", seed, l.end, len(data), len(l.chunks), l.size())
			}
			if l.size() == 0 {
				continue
			}
			offset := l.start + random.Uint64N(l.end-l.start)
			limit := 1 + random.IntN(50000)
			kept, got := l.at(offset, limit)
			if len(got) == 0 || len(got) > limit || !bytes.Equal(got, data[offset:offset+uint64(len(got))]) {
				t.Fatalf("seed %d: wrong data at %d", seed, offset)
			}
			for i := range got {
				if streams[offset+uint64(i)] != kept {
					t.Fatalf("seed %d: wrong stream at %d", seed, offset)
				}
			}
		}
	}
}
