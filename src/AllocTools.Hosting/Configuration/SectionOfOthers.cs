namespace AllocTools.Hosting.Configuration;

/// <summary>A section that stands below a pool's, and has options of something else.</summary>
/// <param name="Path">Its path.</param>
internal sealed record SectionOfOthers(string Path);
