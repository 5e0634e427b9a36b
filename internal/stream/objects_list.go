package stream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/url"
	"path"

	"k8s.io/apimachinery/pkg/fields"

	"kshell/internal/apiclient"
)

// list reads the list, and delivers the difference to what was delivered before,
// and Synced.
func (o *Objects[T]) list(ctx context.Context) error {
	var read listing[T]
	pages := apiclient.Pages[json.RawMessage]{
		Noun:  path.Base(o.Path),
		Open:  o.openPage,
		Begin: func() { read = listing[T]{limit: o.Limit, keys: map[string]bool{}} },
		Add: func(item *json.RawMessage) error {
			e, err := o.decode(*item)
			if err != nil {
				return &apiclient.NotListError{Err: err}
			}
			if !o.selects(e.meta) {
				return nil
			}
			return read.add(e)
		},
	}
	version, err := pages.Read(ctx)
	if err != nil {
		return listError(ctx, err)
	}
	o.listed, o.version = true, version
	o.l.works()
	for _, c := range o.view.replace(&read) {
		if err := o.deliver(ctx, c); err != nil {
			return err
		}
	}
	return o.sync(ctx)
}

// openPage requests a page of the list. The Unanswered events are about this
// request.
func (o *Objects[T]) openPage(ctx context.Context, page url.Values) (io.ReadCloser, error) {
	o.l.beginAttempt()
	query := o.query()
	maps.Copy(query, page)
	body, err := o.Transport.Get(ctx, o.Path, query)
	o.l.endAttempt()
	return body, err
}

// listError returns the outcome of a list that could not be read.
func listError(ctx context.Context, err error) error {
	var notList *apiclient.NotListError
	var large *apiclient.TooLargeError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed(err), errors.As(err, &notList), errors.As(err, &large):
		return err
	}
	return &LostError{err}
}

// query returns the query of the list, and of the watch without its own
// parameters. One object is selected by its name: a watch on the path of the
// object itself would be answered with the object.
func (o *Objects[T]) query() url.Values {
	query := url.Values{}
	maps.Copy(query, o.Query)
	if o.Name == "" {
		return query
	}
	selector := fields.OneTermEqualSelector("metadata.name", o.Name).String()
	if more := o.Query.Get("fieldSelector"); more != "" {
		selector += "," + more
	}
	query.Set("fieldSelector", selector)
	return query
}

// selects reports whether the name of an object is the one to watch. It is
// needed because some servers ignore selectors.
func (o *Objects[T]) selects(m Meta) bool { return o.Name == "" || o.Name == m.Name }

// decode decodes an object.
func (o *Objects[T]) decode(data []byte) (*entry[T], error) {
	object := new(T)
	if err := json.Unmarshal(data, object); err != nil {
		return nil, err
	}
	return &entry[T]{object: object, meta: o.Meta(object), size: len(data)}, nil
}
