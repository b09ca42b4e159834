"""The words of the IOI prompts: templates, places, objects and first names, written for this project.

``{A}`` and ``{B}`` are the first two names in the order of the text, ``{S}`` the subject's second mention.
A template never starts with a name, since a name without its leading space is another token. It has each name
once before ``{S}``, and ends just before the answer. Templates and names at even indices of their lists are
for finding heads, those at odd indices for confirming them.
"""

TEMPLATES = (
    "When {A} and {B} arrived at the {place}, {S} handed a {object} to",
    "After {A} and {B} met near the {place}, {S} passed a {object} to",
    "While {A} and {B} waited outside the {place}, {S} offered a {object} to",
    "Yesterday {A} and {B} drove to the {place}, and {S} lent a {object} to",
    "Because {A} and {B} shared a table at the {place}, {S} gave a {object} to",
    "Last week {A} and {B} walked past the {place}. Then {S} showed a {object} to",
    "Once {A} and {B} had left the {place}, {S} sold a {object} to",
    "Before {A} and {B} closed the {place}, {S} brought a {object} to",
    "As {A} and {B} talked about the {place}, {S} threw a {object} to",
    "On Monday {A} and {B} cleaned the {place}. Afterwards {S} gave the {object} to",
    "Since {A} and {B} were alone in the {place}, {S} whispered the news to",
    "In the morning {A} and {B} opened the {place}, so {S} carried the {object} to",
    "At the party {A} and {B} sat down together. Soon {S} slid a {object} to",
    "During the trip {A} and {B} stopped by the {place}, where {S} gave a {object} to",
    "For years {A} and {B} worked at the {place}. In May {S} left the {object} to",
    "Every day {A} and {B} ate lunch at the {place}, and {S} read a story to",
    "Late at night {A} and {B} reached the {place}. Quietly {S} handed the {object} to",
    "Under the bridge {A} and {B} found a {object}. At once {S} gave it to",
    "Behind the {place} {A} and {B} played cards, and {S} explained the rules to",
    "Our friends {A} and {B} rented the {place}. Today {S} mailed a {object} to",
    "Although {A} and {B} argued at the {place}, {S} still returned the {object} to",
    "The twins {A} and {B} visited the {place}, and later {S} sent a {object} to",
    "Inside the {place} {A} and {B} were hiding. Slowly {S} pushed a {object} to",
    "This year {A} and {B} painted the {place}, and {S} owed some money to",
)

PLACES = ("market", "station", "library", "museum", "bakery", "garage", "farm", "school", "hotel", "beach")

OBJECTS = ("book", "letter", "ticket", "coat", "lamp", "knife", "phone", "basket", "map", "cake")

# fmt: off
_NAMES = """
Mary John Alice Robert Emma David Sarah James Laura Michael Anna Thomas Julia Daniel Helen Peter Susan Mark
Linda Paul Karen George Nancy Kevin Rachel Brian Diana Steven Grace Edward Amy Henry Kate Simon Lucy Adam Claire
Martin Emily Jack Sophie Oliver Maria William Rose Charles Jane Richard Lisa Joseph Ruth Andrew Carol Joshua
Judy Ryan Megan Eric Amanda Jason Nicole Justin Rebecca Scott Laurie Frank Hannah Ben Olivia Samuel Victoria
Patrick Katherine Alexander Christina Benjamin Elizabeth Jonathan Margaret Nathan Barbara Gregory Jennifer
Timothy Melissa Kenneth Angela Douglas Michelle Philip Stephanie Vincent Vanessa Leonard Monica Albert Teresa
Arthur Erica Walter Sandra Howard Donna Carl Janet Roger Ellen Bruce Alan Joan Keith Wendy Craig Holly Dennis
April Raymond June Gerald Dawn Russell Iris Harold Ivy Ralph Eva Eugene Nina Louis Stella Victor Clara Oscar
Edith Felix Nora Hugo Vera Leo Ada Max Zoe Luke Mia Noah Ella Ethan Lily Logan Chloe Lucas Sophia Mason Isabella
Caleb Abigail Isaac Charlotte Aaron Natalie Evan Jasmine Connor Audrey Cole Bella Dylan Ruby Jordan Hazel Austin
Violet Tyler Daisy Kyle Molly Sean Heather Ian Tara Neil Gina Glen Tina Doug Kim Greg Jill Phil Beth Matt Anne
Tom Kelly Jim Sally Bob Betty Joe Jean Sam Julie Tim Marie Ted Ann Ray Jessica Roy Lauren Dan Alex Don Lynn
Chris Rita Tony Lydia Andy Martha Jeff Irene Steve Alison Gary Esther Larry Miriam Jerry Naomi Terry Sharon
Barry Sheila Harry Cindy Billy Crystal Bobby Danielle Jimmy Erin
"""
# fmt: on

NAMES = tuple(_NAMES.split())
