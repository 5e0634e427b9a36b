package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Pages reads a list page by page, one object at a time.
type Pages[T any] struct {
	// Noun names the objects in errors: "pods".
	Noun string
	// Open requests one page. page contains the query parameters limit and
	// continue, if they are needed. ctx is a PageContext.
	Open func(ctx context.Context, page url.Values) (io.ReadCloser, error)
	// Begin is called before the first page, and again if the list is read from
	// the beginning because its continue token has expired.
	Begin func()
	// Add is called for each object. Its error ends Read.
	Add func(*T) error
}

// Read reads all pages. version is the resourceVersion of the last page, from
// which a watch can start. Errors are those of Open and Add, *TimeoutError,
// *TooLargeError, *NotListError, and io.ErrUnexpectedEOF (wrapped) for an
// incomplete response.
func (p Pages[T]) Read(ctx context.Context) (version string, err error) {
	limit, next := PageItems, ""
	p.Begin()
	for range MaxPages {
		added := false
		head, err := p.page(ctx, limit, next, func(item *T) error {
			added = true
			return p.Add(item)
		})
		switch {
		case err == nil && head.Metadata.Continue == "":
			return head.Metadata.ResourceVersion, nil
		case err == nil:
			next = head.Metadata.Continue
		case next != "" && !added && IsExpired(err):
			// The continue token has expired: read the whole list at once.
			limit, next = 0, ""
			p.Begin()
		default:
			return "", err
		}
	}
	return "", &TooLargeError{What: fmt.Sprintf("the list of %s has more than %d pages", p.Noun, MaxPages)}
}

// IsExpired reports whether err is a 410: the server no longer has the
// requested resourceVersion, or the rest of a list.
func IsExpired(err error) bool {
	var refused interface{ Expired() bool }
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || errors.As(err, &refused) && refused.Expired()
}

// listHead is a list without its items.
type listHead struct {
	Kind     string
	Metadata struct{ Continue, ResourceVersion string }
}

func (p Pages[T]) page(ctx context.Context, limit int, next string, add func(*T) error) (*listHead, error) {
	page := url.Values{}
	if limit > 0 {
		page.Set("limit", strconv.Itoa(limit))
	}
	if next != "" {
		page.Set("continue", next)
	}
	answer, err := p.Open(PageContext(ctx), page)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	d := NewDecoder(answer, fmt.Sprintf("an object in the list of %s", p.Noun))
	h, err := decodeList(d, add)
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil && !strings.HasSuffix(h.Kind, "List") && h.Kind != "Table":
		return nil, &NotListError{errors.New("its kind is " + strconv.Quote(h.Kind))}
	case LimitError(err) != nil:
		var large *TooLargeError
		if errors.As(err, &large) && large.Limit == MaxPage {
			return nil, &TooLargeError{What: "a page of the list of " + p.Noun, Limit: MaxPage}
		}
		return nil, LimitError(err)
	case errors.As(err, &syntax), errors.As(err, &wrongType):
		return nil, &NotListError{err}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the list of %s was cut off: %w", p.Noun, io.ErrUnexpectedEOF)
	}
	return h, err
}

func decodeList[T any](d *Decoder, add func(*T) error) (*listHead, error) {
	h := &listHead{}
	if err := d.delim('{'); err != nil {
		return nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "kind":
			err = d.Decode(&h.Kind)
		case "metadata":
			err = d.Decode(&h.Metadata)
		case "items", "rows": // rows are the items of a Table
			err = decodeItems(d, add)
		default:
			err = d.Decode(&json.RawMessage{})
		}
		if err != nil {
			return nil, err
		}
	}
	return h, d.delim('}')
}

func decodeItems[T any](d *Decoder, add func(*T) error) error {
	switch first, err := d.Token(); {
	case err != nil:
		return err
	case first == nil: // "items": null
		return nil
	case first != json.Delim('['):
		return &NotListError{errors.New("its items are not an array")}
	}
	for d.More() {
		var item T
		if err := d.Decode(&item); err != nil {
			return err
		}
		if err := add(&item); err != nil {
			return err
		}
	}
	return d.delim(']')
}

// NotListError means that a response is not a list of objects.
type NotListError struct{ Err error }

func (e *NotListError) Error() string {
	return "the server's answer is not a list of objects: " + e.Err.Error()
}

// Unwrap returns what is wrong with the response.
func (e *NotListError) Unwrap() error { return e.Err }
