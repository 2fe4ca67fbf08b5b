"""Is a field whose weights are random projections nearer to a picture than a smaller network of as many bytes?"""
