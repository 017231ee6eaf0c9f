namespace AllocTools.Hosting;

/// <summary>How far a pool's warm-up is, for its health check.</summary>
internal sealed class PoolWarmUpState
{
    private volatile bool _isDone;
    private volatile Exception? _failure;

    /// <summary>It has ended well.</summary>
    public bool IsDone => _isDone;

    /// <summary>Why it has not.</summary>
    public Exception? Failure => _failure;

    public void Done() => _isDone = true;

    public void Failed(Exception failure) => _failure = failure;
}
