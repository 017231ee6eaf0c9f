namespace AllocTools.Tests.Model;

/// <summary>What happens to returned memory.</summary>
internal enum Scrub
{
    None = 0,
    Clear = 1,
    Poison = 2,
}
