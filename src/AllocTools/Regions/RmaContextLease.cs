namespace AllocTools.Regions;

/// <summary>One reference to a context, released once, however often it is disposed.</summary>
internal sealed class RmaContextLease(Action release) : IDisposable
{
    private Action? _release = release;

    public void Dispose() => Interlocked.Exchange(ref _release, null)?.Invoke();
}
