package agent

const (
	// chunkSize is the size of a chunk of output, in bytes. A frame with a whole
	// chunk has 32 KiB. Container runtimes and servers pass output on in pieces of
	// that size, and a longer frame would need two pieces.
	chunkSize = 32<<10 - outputHeader

	// maxSpare is the maximum number of unused chunks that are kept. It is enough for
	// the chunks that one acknowledgement drops.
	maxSpare = 16

	// maxRuns limits the memory for the boundaries between stdout and stderr.
	maxRuns = 4096
)

// outputLog keeps the newest output of a command. Both streams share one sequence
// of offsets.
type outputLog struct {
	start, end uint64   // the offsets of the kept output
	chunks     [][]byte // of chunkSize bytes; the first contains start
	spare      [][]byte // chunks that are not used, at most maxSpare
	runs       []run    // the kept output, split by stream
}

// run is output of one stream, from the end of the previous run.
type run struct {
	end    uint64
	stream Stream
}

// size returns the number of bytes that are kept.
func (l *outputLog) size() int { return int(l.end - l.start) }

// base returns the offset of the first byte of the first chunk.
func (l *outputLog) base() uint64 { return l.start - l.start%chunkSize }

func (l *outputLog) append(stream Stream, data []byte) {
	if len(data) == 0 {
		return
	}
	for len(data) > 0 {
		if l.end == l.base()+uint64(len(l.chunks))*chunkSize {
			l.chunks = append(l.chunks, l.newChunk())
		}
		n := copy(l.chunks[len(l.chunks)-1][l.end%chunkSize:], data)
		l.end += uint64(n)
		data = data[n:]
	}
	if n := len(l.runs); n > 0 && l.runs[n-1].stream == stream {
		l.runs[n-1].end = l.end
	} else {
		l.runs = append(l.runs, run{l.end, stream})
	}
}

func (l *outputLog) newChunk() []byte {
	n := len(l.spare)
	if n == 0 {
		return make([]byte, chunkSize)
	}
	chunk := l.spare[n-1]
	l.spare = l.spare[:n-1]
	return chunk
}

// dropBefore drops the output below offset.
func (l *outputLog) dropBefore(offset uint64) {
	offset = min(offset, l.end)
	if offset <= l.start {
		return
	}
	chunks := offset/chunkSize - l.start/chunkSize
	for range min(chunks, uint64(len(l.chunks))) {
		if len(l.spare) < maxSpare {
			l.spare = append(l.spare, l.chunks[0])
		}
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
	}
	l.start = offset
	for len(l.runs) > 0 && l.runs[0].end <= offset {
		l.runs = l.runs[1:]
	}
}

// at returns output of one stream from offset on: 1 to limit bytes, or none at the
// end. offset must not be below start. The bytes are valid until the next call of
// append.
func (l *outputLog) at(offset uint64, limit int) (Stream, []byte) {
	if offset >= l.end {
		return 0, nil
	}
	i, after := 0, len(l.runs) // binary search for the run that contains offset
	for i < after {
		if middle := (i + after) / 2; l.runs[middle].end > offset {
			after = middle
		} else {
			i = middle + 1
		}
	}
	chunk := l.chunks[(offset-l.base())/chunkSize]
	within := int(offset % chunkSize)
	n := min(limit, chunkSize-within, int(min(l.runs[i].end-offset, chunkSize)))
	return l.runs[i].stream, chunk[within : within+n]
}
