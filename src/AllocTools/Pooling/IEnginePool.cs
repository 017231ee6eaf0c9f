namespace AllocTools.Pooling;

/// <summary>A pool of this library's.</summary>
internal interface IEnginePool
{
    /// <summary>What is behind it.</summary>
    PoolEngine Engine { get; }
}
