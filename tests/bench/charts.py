def pictures(results):
    return {}
