"""What tests need: contracts that codecs and stores have to keep, and fixtures to run pipelines."""
