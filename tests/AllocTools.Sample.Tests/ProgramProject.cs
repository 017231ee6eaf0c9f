namespace AllocTools.Sample.Tests;

/// <summary>A project for programs shown in documents, which refers to the library's own projects.</summary>
internal static class ProgramProject
{
    /// <param name="clone">The path of the repository.</param>
    /// <param name="outputType">The output type.</param>
    public static string Text(string clone, string outputType = "Exe") => $"""
        <Project Sdk="Microsoft.NET.Sdk.Worker">
          <PropertyGroup>
            <TargetFramework>net10.0</TargetFramework>
            <OutputType>{outputType}</OutputType>
            <ImplicitUsings>enable</ImplicitUsings>
            <Nullable>enable</Nullable>
          </PropertyGroup>
          <ItemGroup>
            <ProjectReference Include="{clone}/src/AllocTools.Hosting/AllocTools.Hosting.csproj" />
            <ProjectReference Include="{clone}/src/AllocTools.Telemetry/AllocTools.Telemetry.csproj" />
            <PackageReference Include="Microsoft.Extensions.Hosting" Version="10.*" />
            <PackageReference Include="OpenTelemetry.Extensions.Hosting" Version="1.*" />
          </ItemGroup>
        </Project>
        """;
}
