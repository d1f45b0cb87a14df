"""What the JSON of each page holds, by resource; the OpenAPI description is made from these."""
