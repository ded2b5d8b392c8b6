"""OpenAI's embedding models, and servers that speak as OpenAI does."""
