using AllocTools.Endpoints.Engine;

namespace AllocTools.Libfabric;

/// <summary>Waits for a peer to ring, where there is no descriptor.</summary>
internal sealed class BellWaker(Doorbell bell) : IWaker
{
    private int _isWoken;

    public bool HasRung => bell.HasRung;

    public void Wake()
    {
        Volatile.Write(ref _isWoken, 1);
        bell.Ring();
    }

    public void Listen() => bell.Listen();

    public void Prepare() => bell.BeginSleep();

    public WaitEnd Wait(TimeSpan longest, bool forCompletions)
    {
        bool hasRung = Volatile.Read(ref _isWoken) != 0 || bell.Sleep(longest);
        bell.EndSleep();
        return Interlocked.Exchange(ref _isWoken, 0) != 0 || hasRung ? WaitEnd.Woken : WaitEnd.TimedOut;
    }

    public void Dispose()
    {
    }
}
