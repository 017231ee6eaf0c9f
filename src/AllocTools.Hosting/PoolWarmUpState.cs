namespace AllocTools.Hosting;

/// <summary>The state of a pool's warm-up, for its health check.</summary>
internal sealed class PoolWarmUpState
{
    private volatile bool _isDone;
    private volatile Exception? _failure;

    /// <summary>Whether it has succeeded.</summary>
    public bool IsDone => _isDone;

    /// <summary>The error, if it has failed.</summary>
    public Exception? Failure => _failure;

    public void Done() => _isDone = true;

    public void Failed(Exception failure) => _failure = failure;
}
