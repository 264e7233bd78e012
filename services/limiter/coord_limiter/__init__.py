"""Rate limits: token buckets of requests and tokens a minute."""
