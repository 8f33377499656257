class Augment:
    def __init__(self, specs): pass
