namespace AllocTools.Regions;

/// <summary>What the container tells a provider that it makes.</summary>
/// <param name="PoolName">The name its pool was added under, which is also the name of its options; empty for the unnamed pool.</param>
public sealed record RmaProviderActivation(string PoolName);
