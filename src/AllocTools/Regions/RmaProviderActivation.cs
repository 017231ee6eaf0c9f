namespace AllocTools.Regions;

/// <summary>The information that the container gives to a provider that it creates.</summary>
/// <param name="PoolName">The name under which its pool was added, which is also the name of its options; empty for the
/// unnamed pool.</param>
public sealed record RmaProviderActivation(string PoolName);
