package fanout

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"os"
	"strings"
	"sync/atomic"
)

// Limits of the output that spools keep in memory, in bytes. The rest is
// written to files.
const (
	maxSpoolMemory  = 512 << 10 // of each spool
	maxSpoolsMemory = 64 << 20  // of all spools together
)

// spool stores what is written to it, in memory up to a limit, and the rest in
// a temporary file that only the user can read.
type spool struct {
	memory *atomic.Int64 // bytes that all spools keep in memory
	sum    hash.Hash     // SHA-256 of everything that was written
	size   int64         // bytes that were written
	last   byte          // the last byte, if size is not 0
	head   bytes.Buffer
	file   *os.File // the output after head; nil if there is none
}

func newSpool(memory *atomic.Int64) spool { return spool{memory: memory, sum: sha256.New()} }

// Write implements io.Writer. Its errors are those of the file.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.store(p)
	s.sum.Write(p[:n])
	s.size += int64(n)
	if n > 0 {
		s.last = p[n-1]
	}
	return n, err
}

func (s *spool) store(p []byte) (int, error) {
	n := int64(len(p))
	if s.file == nil && int64(s.head.Len())+n <= maxSpoolMemory {
		if s.memory.Add(n) <= maxSpoolsMemory {
			return s.head.Write(p)
		}
		s.memory.Add(-n)
	}
	if s.file == nil {
		file, err := os.CreateTemp("", "kshell-fold-*") // mode 0600
		if err != nil {
			return 0, err
		}
		_ = os.Remove(file.Name()) // Unix can remove an open file; on Windows, close removes it
		s.file = file
	}
	return s.file.Write(p)
}

// writeTo writes heading and everything that was written to s, and ends the
// last line.
func (s *spool) writeTo(w io.Writer, heading string) error {
	parts := []io.Reader{strings.NewReader(heading), bytes.NewReader(s.head.Bytes())}
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		parts = append(parts, s.file)
	}
	if s.size > 0 && s.last != '\n' {
		parts = append(parts, strings.NewReader("\n"))
	}
	_, err := io.Copy(w, io.MultiReader(parts...))
	return err
}

// close removes the file and frees the memory.
func (s *spool) close() {
	s.memory.Add(-int64(s.head.Len()))
	s.head = bytes.Buffer{}
	if s.file != nil {
		_ = s.file.Close() // its contents are no longer needed
		_ = os.Remove(s.file.Name())
		s.file = nil
	}
}
