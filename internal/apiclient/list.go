package apiclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"k8s.io/client-go/rest"
)

// PageItems is the number of objects per page.
const PageItems = 500

// Limits of a whole list.
const (
	MaxPages = 100
	MaxKept  = 32 << 20 // bytes, as estimated by Lister.Size
)

// Lister lists the objects of one resource, page by page.
type Lister[T any] struct {
	// Noun names the objects in errors: "pods".
	Noun string
	// Request returns a request for the list, without the parameters limit and
	// continue. It is called for each page.
	Request func() *rest.Request
	// Keep is called for each object that is read, and reports whether to keep
	// it. It may remove fields of the object that are not used. If Keep is nil,
	// all objects are kept.
	Keep func(*T) bool
	// Size estimates the memory that an object takes, in bytes.
	Size func(*T) int
}

// List reads all pages, one object at a time. version is the resourceVersion of
// the last page, from which a watch can start. Errors are those of Pages.Read
// and client-go.
func (l Lister[T]) List(ctx context.Context) (items []T, version string, err error) {
	kept := 0
	version, err = Pages[T]{
		Noun:  l.Noun,
		Open:  l.open,
		Begin: func() { items, kept = nil, 0 },
		Add: func(item *T) error {
			if l.Keep != nil && !l.Keep(item) {
				return nil
			}
			if kept += l.Size(item); kept > MaxKept {
				return &TooLargeError{What: "the list of " + l.Noun, Limit: MaxKept}
			}
			items = append(items, *item)
			return nil
		},
	}.Read(ctx)
	if err != nil {
		return nil, "", err
	}
	return items, version, nil
}

// open requests one page.
func (l Lister[T]) open(ctx context.Context, page url.Values) (io.ReadCloser, error) {
	r := l.Request().SetHeader("Accept", "application/json")
	for name := range page {
		r = r.Param(name, page.Get(name))
	}
	return r.Stream(ctx)
}

// Decoder is a json.Decoder that rejects values of more than MaxObject bytes.
// It decodes the events of a watch, or the objects of a list, one at a time.
type Decoder struct {
	*json.Decoder
	in *valueReader
}

// NewDecoder returns a decoder of r. The parameter what is the name of a value
// in a *TooLargeError: "an event".
func NewDecoder(r io.Reader, what string) *Decoder {
	in := &valueReader{r: r, what: what}
	return &Decoder{json.NewDecoder(in), in}
}

// Decode reads the next value. If the value is larger than MaxObject bytes, the
// error is a *TooLargeError.
func (d *Decoder) Decode(v any) error {
	d.in.end = d.InputOffset() + MaxObject
	return d.Decoder.Decode(v)
}

// Token reads the next token, of at most MaxObject bytes.
func (d *Decoder) Token() (json.Token, error) {
	d.in.end = d.InputOffset() + MaxObject
	return d.Decoder.Token()
}

// More reports whether another element follows.
func (d *Decoder) More() bool {
	d.in.end = d.InputOffset() + MaxObject
	return d.Decoder.More()
}

func (d *Decoder) delim(wanted json.Delim) error {
	switch t, err := d.Token(); {
	case err != nil:
		return err
	case t != wanted:
		return &NotListError{fmt.Errorf("found %q, want %q", fmt.Sprint(t), wanted)}
	}
	return nil
}

// valueReader is a reader of r that fails at the offset in the field end, which
// is MaxObject bytes after the start of the current value.
type valueReader struct {
	r         io.Reader
	what      string
	read, end int64 // offsets in bytes
}

// Read implements io.Reader.
func (v *valueReader) Read(p []byte) (int, error) {
	left := v.end - v.read
	if left <= 0 {
		return 0, &TooLargeError{What: v.what, Limit: MaxObject}
	}
	n, err := v.r.Read(p[:min(int64(len(p)), left)])
	v.read += int64(n)
	return n, err
}
