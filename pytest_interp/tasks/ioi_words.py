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

FURTHER_TEMPLATES = (
    "When {A} and {B} got home from the {place}, {S} gave a {object} to",
    "After the meeting {A} and {B} stayed at the {place}, and {S} handed a {object} to",
    "While {A} and {B} stood in line at the {place}, {S} gave the {object} to",
    "Last summer {A} and {B} ran the {place}. One evening {S} passed the {object} to",
    "Because {A} and {B} had missed the bus to the {place}, {S} lent a {object} to",
    "On the way to the {place} {A} and {B} stopped to rest. There {S} gave a {object} to",
    "Once {A} and {B} were inside the {place}, {S} showed the {object} to",
    "Before {A} and {B} went into the {place}, {S} handed the {object} to",
    "As {A} and {B} came out of the {place}, {S} threw the {object} to",
    "On Friday {A} and {B} had dinner near the {place}. Later {S} offered a {object} to",
    "Since {A} and {B} both liked the {place}, {S} bought a {object} and gave it to",
    "In the afternoon {A} and {B} swept the {place}, and {S} tossed the {object} to",
    "At the wedding {A} and {B} danced for hours. Then {S} gave a {object} to",
    "During the storm {A} and {B} hid in the {place}, where {S} passed a {object} to",
    "For a week {A} and {B} looked after the {place}. On Sunday {S} brought a {object} to",
    "Every morning {A} and {B} met in front of the {place}, and {S} sold a {object} to",
    "Just before noon {A} and {B} found the {place}. Happily {S} gave the {object} to",
    "In the kitchen {A} and {B} washed the dishes, and {S} passed the {object} to",
    "Next to the {place} {A} and {B} built a wall, and {S} handed the {object} to",
    "Our neighbors {A} and {B} own the {place}. Yesterday {S} lent the {object} to",
    "Although {A} and {B} were tired after the {place}, {S} gave a {object} to",
    "The students {A} and {B} were late for the {place}, so {S} threw a {object} to",
    "Outside the {place} {A} and {B} were talking. Suddenly {S} handed a {object} to",
    "That night {A} and {B} locked the {place}, and {S} gave the {object} to",
    "If {A} and {B} meet at the {place}, {S} will give a {object} to",
    "By the time {A} and {B} saw the {place}, {S} had given the {object} to",
    "There was a fire at the {place} when {A} and {B} came by, and {S} passed a {object} to",
    "The owner let {A} and {B} into the {place}. First {S} handed the {object} to",
    "We watched {A} and {B} at the {place}. In the end {S} gave a {object} to",
    "It was raining when {A} and {B} left the {place}, so {S} lent the {object} to",
    "They say that {A} and {B} met at the {place}, and that {S} offered a {object} to",
    "Nobody knew that {A} and {B} were at the {place} when {S} sent a {object} to",
    "With the help of {A} and {B} the {place} was saved. Afterwards {S} gave the {object} to",
    "On the phone {A} and {B} spoke about the {place}, and {S} promised a {object} to",
    "A man saw {A} and {B} behind the {place}, where {S} handed a {object} to",
    "Some years ago {A} and {B} lived above the {place}. Each week {S} brought a {object} to",
    "Two friends, {A} and {B}, went to the {place}. On the way {S} gave a {object} to",
    "The teacher asked {A} and {B} about the {place}. At last {S} showed the {object} to",
    "Right after {A} and {B} paid at the {place}, {S} handed the {object} to",
    "Without a word {A} and {B} walked to the {place}, where {S} passed the {object} to",
    "In the story {A} and {B} are trapped in the {place}. In time {S} gives the {object} to",
    "All day {A} and {B} worked side by side in the {place}, until {S} gave a {object} to",
    "From the window {A} and {B} could see the {place}. With a smile {S} handed the {object} to",
    "Soon after {A} and {B} moved to the {place}, {S} wrote a letter to",
    "At school {A} and {B} share a desk. Today {S} gave a {object} to",
    "The police found {A} and {B} near the {place}. By then {S} had sold the {object} to",
    "Both {A} and {B} were invited to the {place}. As a gift {S} brought a {object} to",
    "To celebrate, {A} and {B} went to the {place}, and {S} gave a {object} to",
    "In winter {A} and {B} often skated near the {place}. Once {S} threw a {object} to",
    "Like last year {A} and {B} spent the day at the {place}, and {S} read a {object} to",
    "Though {A} and {B} hardly knew each other, {S} sent a {object} from the {place} to",
    "Across from the {place} {A} and {B} opened a shop. Now {S} sells the {object} to",
    "Only {A} and {B} were left in the {place}. Finally {S} returned the {object} to",
    "My cousins {A} and {B} flew to the {place}. Before the trip {S} gave the {object} to",
    "One day {A} and {B} got lost near the {place}, but {S} gave the {object} to",
    "Whenever {A} and {B} are at the {place}, {S} shows a {object} to",
)
"""Further wordings, for questions that two dozen do not decide, such as how faithful a circuit is."""

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
