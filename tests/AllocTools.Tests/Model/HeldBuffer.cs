namespace AllocTools.Tests.Model;

/// <summary>A hold, in the only place where it is kept.</summary>
internal sealed class HeldBuffer(RmaSlice slice)
{
    private RmaHold _hold = slice.Hold();

    public bool IsQuarantined { get; private set; }

    public void Quarantine()
    {
        IsQuarantined = true;
        _hold.Quarantine();
    }

    public void Release() => _hold.Release();
}
