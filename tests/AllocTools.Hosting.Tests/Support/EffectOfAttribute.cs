namespace AllocTools.Hosting.Tests.Support;

/// <summary>The test shows what keys of the configuration lead to, by their paths below the pool's section.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class EffectOfAttribute(params string[] keys) : Attribute
{
    public IReadOnlyList<string> Keys => keys;
}
