"""The OpenAPI document against the API that it describes: Schemathesis tries every operation, alone and in sequence."""
