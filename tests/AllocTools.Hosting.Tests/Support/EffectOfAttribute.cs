namespace AllocTools.Hosting.Tests.Support;

/// <summary>Marks a test that shows the effect of configuration keys, given by their paths below the pool's section.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class EffectOfAttribute(params string[] keys) : Attribute
{
    public IReadOnlyList<string> Keys => keys;
}
