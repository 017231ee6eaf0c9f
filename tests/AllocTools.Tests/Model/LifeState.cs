namespace AllocTools.Tests.Model;

/// <summary>The stage of a pool's life.</summary>
internal enum LifeState
{
    Open = 0,
    Draining = 1,
    Closed = 2,
}
