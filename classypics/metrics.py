def inception(*a): pass
score=train_judge=inception
class FeatureNet: pass
