namespace AllocTools.Hosting.Tests.Support;

/// <summary>Holds each registration of a <see cref="RecordingProvider"/> until it is released.</summary>
internal sealed class HeldRegistrations : IDisposable
{
    private readonly SemaphoreSlim _registers = new(0);
    private readonly ManualResetEventSlim _mayRegister = new();

    public HeldRegistrations() => Journal = new Journal
    {
        Registers = () =>
        {
            _registers.Release();
            _mayRegister.Wait();
        },
    };

    /// <summary>Gets the provider's journal.</summary>
    public Journal Journal { get; }

    /// <summary>Waits until a registration has begun. Returns false if none has begun in time.</summary>
    public Task<bool> HasBegunAsync(CancellationToken cancellationToken) => _registers.WaitAsync(TestHost.Patience, cancellationToken);

    public void LetGo() => _mayRegister.Set();

    public void Dispose()
    {
        _registers.Dispose();
        _mayRegister.Dispose();
    }
}
