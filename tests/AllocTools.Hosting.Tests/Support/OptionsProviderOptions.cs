namespace AllocTools.Hosting.Tests.Support;

public sealed class OptionsProviderOptions
{
    public string Device { get; set; } = "none";
}
