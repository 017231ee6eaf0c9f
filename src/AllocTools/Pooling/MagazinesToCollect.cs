namespace AllocTools.Pooling;

/// <summary>Which magazines are emptied.</summary>
internal enum MagazinesToCollect
{
    /// <summary>Those of threads that have ended.</summary>
    Dead = 0,

    /// <summary>Those, and the ones that served nothing since this was asked last.</summary>
    Idle = 1,

    /// <summary>All.</summary>
    All = 2,

    /// <summary>All; live threads' hold half as many blocks from then on.</summary>
    AllAndShrink = 3,

    /// <summary>All; each thread makes itself a new one when it needs it.</summary>
    AllForGood = 4,
}
