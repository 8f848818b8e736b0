package s3

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/vitago/vitago/shard/store"
)

// constant answers every request with the same body.
type constant []byte

func (c constant) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Request: r,
		ContentLength: int64(len(c)), Body: io.NopCloser(bytes.NewReader(c))}, nil
}

// Whatever a server says to be its list: it ends, and what comes of it are names below the prefix, in order.
func FuzzList(f *testing.F) {
	page := func(inner string) string {
		return "<ListBucketResult><Name>pictures</Name><EncodingType>url</EncodingType>" + inner + "</ListBucketResult>"
	}
	item := func(key string) string {
		return "<Contents><Key>" + key + "</Key><Size>3</Size><ETag>&quot;a&quot;</ETag><LastModified>2026-11-30T00:00:00.000Z</LastModified></Contents>"
	}
	for _, seed := range []string{
		"", "<html>", page(""), page(item("in/a") + item("in/b%2Fc") + item("in/d+e")), page(item("in/b") + item("in/a")), page(item("in/../x")), page(item("out/x")),
		page(item("in/") + item("in/a/")), page("<IsTruncated>true</IsTruncated>" + item("in/a")), page("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>" + item("in/a")),
		page("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"), page(item("in/%zz")), page("<Contents><Size>-1</Size></Contents>"), page(item("in/%00")),
	} {
		f.Add([]byte(seed))
	}
	f.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	f.Setenv("AWS_NO_SIGN_REQUEST", "true")
	opened, err := open(f.Context(), "s3://pictures/in", quick)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		shared := opened.(*bucket).client
		c := client{limits: shared.limits, region: shared.region, endpoint: shared.endpoint}
		b := &bucket{&c, "pictures", "in/"}
		c.api = s3.New(shared.api.Options(), func(o *s3.Options) {
			o.HTTPClient = constant(answer)
			o.Retryer = aws.NopRetryer{}
		})
		last, ended := "", false
		for i, err := range b.List(t.Context(), "") {
			if ended {
				t.Fatal("it went on behind an error")
			}
			if err != nil {
				ended = true
				continue
			}
			if store.CheckName(i.Name) != nil || i.Name <= last || i.Size < 0 || !strings.HasPrefix("in/"+i.Name, b.prefix) {
				t.Fatalf("got %q behind %q", i.Name, last)
			}
			last = i.Name
		}
	})
}
