namespace AllocTools.Tests.Model;

/// <summary>How far a pool's life has come.</summary>
internal enum LifeState
{
    Open = 0,
    Draining = 1,
    Closed = 2,
}
