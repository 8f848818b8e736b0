// Package s3 stores files as objects of a bucket, by S3's API: at AWS or at any server that speaks it. Who imports it can open
// "s3://BUCKET" and "s3://BUCKET/PREFIX" by [store.Open].
//
// Credentials, region, endpoint and retries come from where AWS's own tools take them: the variables AWS_…, the files in ~/.aws, a
// role of the machine. docs/shards.md lists them.
package s3

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/vitago/vitago/shard/store"
)

func init() { store.Register("s3", Open) }

// limits are sizes and times that tests make small.
type limits struct {
	stall     time.Duration // without a byte in either direction, after which a request is given up
	backoff   time.Duration // before the first retry, at most; it doubles with each
	multipart int64         // bytes from which on an object is put in parts
	part      int64         // bytes of a part
	copy      int64         // bytes up to which an object is copied by one request
	copyPart  int64         // bytes of a part that is copied
	page      int32         // objects of one list
}

var usual = limits{
	stall:     2 * time.Minute,
	backoff:   100 * time.Millisecond,
	multipart: 64 << 20,
	part:      16 << 20,
	copy:      5 << 30, // https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
	copyPart:  512 << 20,
	page:      1000, // as many as there can be
}

const (
	maxParts = 10_000  // https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
	maxPut   = 5 << 30 // of one request, there too
	maxKey   = 1024    // bytes, there too

	attempts   = 10               // of a request, where AWS_MAX_ATTEMPTS is not set
	maxBackoff = 20 * time.Second // as the SDK has it
)

// A bucket is a store: the objects whose keys begin with a prefix.
type bucket struct {
	*client
	name   string
	prefix string // "" or with a slash at its end
}

// A client is what the buckets of a process have in common.
type client struct {
	limits
	api         *s3.Client
	attempts    int
	region      string
	endpoint    string                  // "" for AWS
	credentials string                  // where they come from
	checksum    types.ChecksumAlgorithm // of parts; "" for none. The SDK gives parts one, and does not tell the server beforehand

	conditionsMu sync.Mutex
	conditions   map[string]bool // buckets that were seen to keep If-None-Match
}

// bucketName is looser than AWS's rules: other servers, and buckets of old, have more.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`)

// Open opens "s3://BUCKET/PREFIX". It sends nothing to the bucket. Stores that are opened under the same variables share their connections.
func Open(ctx context.Context, location string) (store.Store, error) {
	return open(ctx, location, usual)
}

func open(ctx context.Context, location string, l limits) (store.Store, error) {
	_, rest, _ := strings.Cut(location, "://")
	name, prefix, _ := strings.Cut(rest, "/")
	if shown := store.Redacted(location); shown != location {
		return nil, fmt.Errorf("store: %s: no credentials stand in a location: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", shown)
	}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		if err := store.CheckName(prefix); err != nil {
			return nil, fmt.Errorf("store: %s: %w", location, err)
		}
		prefix += "/"
	}
	if !bucketName.MatchString(name) {
		return nil, fmt.Errorf("store: %s: bucket %q, want letters, digits, dots and hyphens, as in s3://BUCKET/PREFIX", location, name)
	}
	c, err := shared(ctx, l)
	if err != nil {
		return nil, fmt.Errorf("store: s3://%s: %w", name, err)
	}
	return &bucket{c, name, prefix}, nil
}

func (b *bucket) String() string { return strings.TrimSuffix("s3://"+b.name+"/"+b.prefix, "/") }

var (
	clientsMu sync.Mutex
	clients   = map[string]*client{} // by limits and a hash of the variables that make them
)

// shared returns the client for the variables that are set.
func shared(ctx context.Context, l limits) (*client, error) {
	vars := slices.DeleteFunc(os.Environ(), func(v string) bool { return !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "HOME=") })
	slices.Sort(vars)
	key := fmt.Sprintf("%v %x", l, sha256.Sum256([]byte(strings.Join(vars, "\x00"))))
	clientsMu.Lock()
	defer clientsMu.Unlock()
	if c := clients[key]; c != nil {
		return c, nil
	}
	c, err := newClient(ctx, l)
	if err != nil {
		return nil, err
	}
	clients[key] = c
	return c, nil
}

// awsHosts are the ends of the names of AWS's own endpoints, private ones among them.
var awsHosts = []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".aws"}

func newClient(ctx context.Context, l limits) (*client, error) {
	pathStyle, err := pathStyle()
	if err != nil {
		return nil, err
	}
	anonymous, err := yes("AWS_NO_SIGN_REQUEST")
	if err != nil {
		return nil, err
	}
	payer := os.Getenv("AWS_REQUEST_PAYER")
	if payer != "" && payer != "requester" {
		return nil, fmt.Errorf("AWS_REQUEST_PAYER=%s, want requester", payer)
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("the settings of AWS, from its variables and files: %w", err)
	}
	c := &client{limits: l, attempts: cfg.RetryMaxAttempts, conditions: map[string]bool{}}
	if c.attempts == 0 {
		c.attempts = attempts
	}
	var failed error
	c.api = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if o.BaseEndpoint != nil {
			u, err := endpoint(*o.BaseEndpoint)
			if err != nil {
				failed = err
				return
			}
			if !slices.ContainsFunc(awsHosts, func(end string) bool { return strings.HasSuffix(u.Hostname(), end) }) {
				c.endpoint = u.Redacted()
			}
		}
		if c.endpoint != "" {
			// Few other servers have a name in DNS for each bucket, and not all know the checksums that AWS has had since 2025.
			o.UsePathStyle = true
			if !chosen(ctx, cfg) {
				o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			}
			if o.Region == "" {
				o.Region = "us-east-1" // what they are usually set up with, or do not look at
			}
		}
		if o.RequestChecksumCalculation == aws.RequestChecksumCalculationWhenSupported {
			c.checksum = types.ChecksumAlgorithmCrc32
		}
		if pathStyle != nil {
			o.UsePathStyle = *pathStyle
		}
		// Reading is resumed in the middle, where the checksum of the whole says nothing.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		if anonymous {
			o.Credentials = aws.AnonymousCredentials{}
		}
		if payer != "" {
			o.APIOptions = append(o.APIOptions, smithyhttp.AddHeaderValue("x-amz-request-payer", payer))
		}
		o.HTTPClient = &watched{o.HTTPClient, l.stall}
		o.Retryer = c.retryer(cfg.RetryMode)
		c.region = o.Region
	})
	if failed != nil {
		return nil, failed
	}
	if c.region == "" {
		return nil, errors.New("no region: set AWS_REGION to that of the bucket, or region in the profile; or AWS_ENDPOINT_URL for a server that is not AWS")
	}
	if !anonymous {
		found, err := cfg.Credentials.Retrieve(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role; AWS_NO_SIGN_REQUEST=true for a public bucket: %w", err)
		}
		c.credentials = found.Source
	}
	return c, nil
}

// pathStyle says whether a bucket stands in the path of URLs or before their host, as far as the user says it.
func pathStyle() (*bool, error) {
	switch v := os.Getenv("AWS_S3_ADDRESSING_STYLE"); v {
	case "", "auto":
		return nil, nil
	case "path", "virtual":
		return aws.Bool(v == "path"), nil
	default:
		return nil, fmt.Errorf("AWS_S3_ADDRESSING_STYLE=%s, want path, virtual or auto", v)
	}
}

// yes says whether a variable is set to what means yes.
func yes(variable string) (bool, error) {
	v := os.Getenv(variable)
	switch strings.ToLower(v) {
	case "", "no", "false", "0", "off":
		return false, nil
	case "yes", "true", "1", "on":
		return true, nil
	}
	return false, fmt.Errorf("%s=%s, want true or false", variable, v)
}

// chosen says whether the user has said when requests get checksums: the SDK does not tell its own default from that.
func chosen(ctx context.Context, cfg aws.Config) bool {
	if os.Getenv("AWS_REQUEST_CHECKSUM_CALCULATION") != "" {
		return true
	}
	for _, source := range cfg.ConfigSources {
		if c, ok := source.(config.SharedConfig); ok && c.RequestChecksumCalculation != 0 {
			return true
		}
	}
	return false
}

// retryer makes requests again as the SDK does in the mode that AWS_RETRY_MODE gives, sooner at first, and after a few more errors.
func (c *client) retryer(mode aws.RetryMode) aws.Retryer {
	options := func(o *retry.StandardOptions) {
		o.MaxAttempts = c.attempts
		o.RateLimiter = ratelimit.None // or an outage of a minute would be the end of all that read at the same time
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) { return c.delay(attempt), nil })
		o.Retryables = append(o.Retryables,
			retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{429: {}}},
			retry.RetryableErrorCode{Codes: map[string]struct{}{
				"ConditionalRequestConflict": {}, "OperationAborted": {}, // another request to the same key is under way
				"IncompleteBody": {}, "BadDigest": {}, "XAmzContentSHA256Mismatch": {}, // the request was damaged on its way
			}},
			retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
				if brokeOff(err) {
					return aws.TrueTernary
				}
				return aws.UnknownTernary
			}),
		)
	}
	if mode == aws.RetryModeAdaptive {
		return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) { o.StandardOptions = append(o.StandardOptions, options) })
	}
	return retry.NewStandard(options)
}

// endpoint checks the URL of a server.
func endpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("AWS_ENDPOINT_URL is no URL, want http://HOST:PORT or https://HOST")
	}
	return u, nil
}
